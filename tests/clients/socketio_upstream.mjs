// One node of a socket.io cluster whose nodes know nothing of each other. Prints its port, then serves until it is
// killed. `who` is answered with the node's process id.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { serveClient: false });

io.on("connection", (socket) => {
  socket.on("who", (answer) => answer(process.pid));
});

http.listen(0, "127.0.0.1", () => console.log(http.address().port));
