// An upstream by Node `ws`: echoes every message as it came, with permessage-deflate on. Prints its port, then
// serves until it is killed. A text "close CODE REASON" makes it close first; of the subprotocols it knows "chat".
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2] ?? 0),
  maxPayload: 64 * 1024 * 1024,
  // Autobahn sends 4 MiB in 65,536 fragments; the default refuses that.
  maxFragments: 0,
  // Every parameter allowed: what is negotiated is then the client's own choice.
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has("chat") ? "chat" : false),
});

server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    const order = isBinary ? null : data.toString().match(/^close (\d+) (.*)$/);
    if (order) socket.close(Number(order[1]), order[2]);
    else socket.send(data, { binary: isBinary });
  });
  // A broken frame ends its own socket (`ws` sends the close by itself), never this process.
  socket.on("error", () => {});
});

server.on("listening", () => console.log(server.address().port));
