// Broadcast server on `ws`, as its documentation shows: the peer most people would write.
//
// On the path `/own` a message is sent back to its sender.
// Elsewhere a connection's first frame is its join: it is sent back to that connection alone. Every later
// frame goes to all joined connections as the Buffer it arrived in, so nothing is converted per
// subscriber. Compression is off (the documentation warns of its cost) and so is the client
// tracking that this server would not use.

import { WebSocket, WebSocketServer } from "ws";

const joined = new Set();

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: false,
  clientTracking: false,
  backlog: 1024,
});

function broadcast(data, isBinary) {
  for (const connection of joined) {
    if (connection.readyState === WebSocket.OPEN) {
      connection.send(data, { binary: isBinary });
    }
  }
}

function reply(data, isBinary) {
  this.send(data, { binary: isBinary });
}

server.on("connection", (connection, request) => {
  connection.on("error", () => connection.terminate());
  if (request.url === "/own") {
    connection.on("message", reply);
    return;
  }
  connection.once("message", (join, isBinary) => {
    joined.add(connection);
    connection.send(join, { binary: isBinary });
    connection.on("message", broadcast);
  });
  connection.on("close", () => joined.delete(connection));
});

server.on("listening", () => {
  const { address, port } = server.address();
  console.error(JSON.stringify({ event: "node.ready", host: address, port }));
});

process.on("SIGTERM", () => process.exit(0));
