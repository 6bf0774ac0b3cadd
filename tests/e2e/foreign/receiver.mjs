// A receiver of webhooks that is not ours: Standard Webhooks' own library for JavaScript verifies.
//
// receiver.mjs KEY: KEY is the secret, whsec_…. Prints its port, then an object for each request. What does not verify is
// answered with 401.
import http from "node:http";
import zlib from "node:zlib";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.argv[2]);

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const body = Buffer.concat(pieces);
    const text = (request.headers["content-encoding"] === "gzip" ? zlib.gunzipSync(body) : body).toString();
    const said = { path: request.url, id: request.headers["webhook-id"] };
    try {
      said.read = webhook.verify(text, request.headers);
    } catch (error) {
      said.error = error.message;
    }
    console.log(JSON.stringify(said));
    response.writeHead(said.error ? 401 : 200, { "content-length": 0 }).end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
