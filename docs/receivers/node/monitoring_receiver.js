#!/usr/bin/env node
// Shows what Rodent posts as it comes, and counts it. Node 18 or newer, and nothing but its library.
//
//     monitoring_receiver.js --secret-file hook.secret [--secret-file next.secret] [--port 3000]
//
// The sink that fits:
//
//     sinks:
//       monitoring:
//         type: webhook
//         format: standard
//         url: http://127.0.0.1:3000/webhooks
//         secret_file: [/etc/rodent/hook.secret]
//
// Signatures are those of Standard Webhooks (standardwebhooks.com): of identifier, time and body. Two secrets are taken
// while one is changed for the other. `GET /` answers with how many events of which kind there were.

"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const { parseArgs } = require("node:util");

// No event is longer than 16 KiB; as JSON it may be some times that.
const BODY_BYTES_MAX = 1024 * 1024;
// Whoever has overheard a request cannot send it again later. Clocks may differ by as much.
const AGE_SECONDS_MAX = 300;
// Identifiers that are remembered: what comes again comes soon.
const REMEMBERED_MAX = 10000;

// The key in `whsec_` and base64.
function key(text) {
    const [, encoded] = text.trim().match(/^whsec_([A-Za-z0-9+/=]+)$/) || [];
    if (!encoded) throw new Error("a secret is `whsec_` and base64");
    return Buffer.from(encoded, "base64");
}

// Whether who posted the body knows one of the keys, and posted it just now.
function isSigned(keys, headers, body, now) {
    const [id, time, given] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => headers[name] || "");
    if (!id || !/^[0-9]+$/.test(time) || Math.abs(now - Number(time)) > AGE_SECONDS_MAX) return false;
    const right = keys.map((key) => crypto.createHmac("sha256", key).update(`${id}.${time}.`).update(body).digest());
    const signatures = given.split(" ").map((word) => word.split(",")).filter(([version]) => version === "v1");
    return signatures.some(([, encoded]) => {
        const signature = Buffer.from(encoded || "", "base64");
        return right.some((own) => own.length === signature.length && crypto.timingSafeEqual(own, signature));
    });
}

function answer(response, status, value) {
    const body = JSON.stringify(value);
    response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.end(body);
}

// Takes each identifier once; the oldest are forgotten.
class Remembered {
    constructor() {
        this.ids = new Set();
    }

    isNew(id) {
        if (this.ids.has(id)) return false;
        this.ids.add(id);
        if (this.ids.size > REMEMBERED_MAX) this.ids.delete(this.ids.values().next().value);
        return true;
    }
}

function receiver(keys) {
    const remembered = new Remembered();
    const counts = {};
    return (request, response) => {
        if (request.method === "GET") return answer(response, 200, counts);
        if (request.method !== "POST") return answer(response, 405, { status: "only POST" });
        const pieces = [];
        let length = 0;
        request.on("data", (piece) => {
            length += piece.length;
            if (length <= BODY_BYTES_MAX) pieces.push(piece);
        });
        request.on("end", () => {
            if (length > BODY_BYTES_MAX) return answer(response, 413, { status: "too long" });
            const body = Buffer.concat(pieces);
            if (!isSigned(keys, request.headers, body, Date.now() / 1000)) {
                return answer(response, 401, { status: "not signed with a secret of ours, or too old" });
            }
            let event;
            try {
                event = JSON.parse(body);
            } catch (error) {
                // Sent again it would be no better: Rodent keeps it as a dead letter.
                return answer(response, 422, { status: `no event: ${error.message}` });
            }
            if (remembered.isNew(request.headers["webhook-id"])) {
                counts[event.type] = (counts[event.type] || 0) + 1;
                console.log(`${event.timestamp} ${event.type} ${(event.data && event.data.text) || ""}`);
            }
            return answer(response, 200, { status: "received" });
        });
        // Who has gone is answered nothing; Rodent sends it again.
        request.on("error", () => {});
    };
}

function main() {
    const { values } = parseArgs({
        options: { "secret-file": { type: "string", multiple: true }, port: { type: "string", default: "3000" } },
    });
    const files = values["secret-file"] || [];
    if (files.length === 0) throw new Error("--secret-file is missing");
    const keys = files.map((file) => key(fs.readFileSync(file, "utf8")));
    const server = http.createServer(receiver(keys));
    server.requestTimeout = 30000;
    server.listen(Number(values.port), "127.0.0.1", () => {
        console.log(`listening on 127.0.0.1:${server.address().port}`);
    });
}

main();
