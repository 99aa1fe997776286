// SPDX-License-Identifier: MIT
// A web server: answers on $PORT (default 18080) and logs each request.
const http = require('http');

const port = Number(process.env.PORT || 18080);

const server = http.createServer((request, response) => {
  console.log(`${request.method} ${request.url}`);
  response.end(`Hello from process ${process.pid}, instance ${process.env.NODE_APP_INSTANCE}\n`);
});

server.listen(port, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`));

process.on('SIGINT', () => {
  console.log('finishing');
  server.close(() => process.exit(0));
});
