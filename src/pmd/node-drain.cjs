// SPDX-License-Identifier: MIT
'use strict';

// Loaded before the app into each worker of a cluster (node --require). Node.js closes the servers of a worker that is told to
// disconnect, and with them the connections that are idle just then: a client that is about to send its next request on one is cut off.
// So the answers from then on tell the client to open another connection, and only what stays idle is closed.
// When all is closed, an app that handles the signal of a stop is given it: to say goodbye is not only for who is cut short.

const IDLE_GRACE = 1000; // milliseconds

const cluster = require('cluster');

// The app sees the arguments that it was given.
const at = process.execArgv.indexOf(__filename);
if (at > 0)
        process.execArgv.splice(at - 1, 2);

// Those to requests that have been received already as well.
function lastAnswers(prototype) {
        const writeHead = prototype.writeHead;

        prototype.writeHead = function () {
                this.shouldKeepAlive = false;
                return writeHead.apply(this, arguments);
        };
}

function closeIdleLater(prototype) {
        const closeIdle = prototype.closeIdleConnections;
        const close = prototype.close;

        if (!closeIdle)
                return; // an old Node.js leaves them to keepAliveTimeout
        prototype.closeIdleConnections = function () {};
        prototype.close = function () {
                setInterval(() => closeIdle.call(this), IDLE_GRACE).unref();
                return close.apply(this, arguments);
        };
}

// A handler closes its servers first of all, and often goes on only if that was no error.
function closeTwice(prototype) {
        const close = prototype.close;

        prototype.close = function (done) {
                const again = !this._handle && typeof done === 'function';

                return close.call(this, again ? () => done() : done);
        };
}

// Node.js disconnects when all servers are closed. The handler may still want to send something, and nothing else keeps the worker.
function signalInsteadOfDisconnect(signal) {
        const disconnect = process.disconnect;

        process.disconnect = function () {
                process.disconnect = disconnect;
                if (process.listenerCount(signal) === 0 || !process.channel)
                        return disconnect.call(process);
                process.channel.unref();
                process.emit(signal, signal, require('os').constants.signals[signal]);
        };
}

function finish(signal) {
        lastAnswers(require('http').ServerResponse.prototype);
        closeTwice(require('net').Server.prototype);
        for (const name of ['http', 'https'])
                closeIdleLater(require(name).Server.prototype);
        if (signal)
                signalInsteadOfDisconnect(signal);
}

if (cluster.isWorker) {
        const onInternal = (message) => {
                if (!message || message.cmd !== 'NODE_CLUSTER' || message.act !== 'disconnect')
                        return;
                process.removeListener('internalMessage', onInternal);
                finish(message.signal);
        };

        // Before the listener of Node.js, which closes the servers.
        process.prependListener('internalMessage', onInternal);
}
