// express-openapi-validator as a proxy: `node proxy.mjs DOCUMENT UPSTREAM PORT`.
//
// It forwards each request and each response unchanged, and reports in the header X-Verdict, as
// encoded JSON, why the validator rejects the one or the other.
import http from "node:http";
import express from "express";
import { middleware } from "express-openapi-validator";

const [document, upstream, port] = process.argv.slice(2);

// Each has its own instance: the validator skips the response of a request that it rejects.
const requests = middleware({ apiSpec: document, validateRequests: true });
const responses = middleware({
  apiSpec: document,
  validateRequests: false,
  validateSecurity: false,
  validateResponses: { onError: noteResponse },
});

function noteResponse(error, _body, request) {
  request.verdict.response = error.message;
}

const parsers = {
  "application/json": (bytes) => JSON.parse(bytes.toString()),
  "application/merge-patch+json": (bytes) => JSON.parse(bytes.toString()),
  "application/x-www-form-urlencoded": (bytes) =>
    Object.fromEntries(new URLSearchParams(bytes.toString())),
};

async function readBody(request, _response, next) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  request.bytes = Buffer.concat(chunks);
  request.verdict = {};
  const pairs = (request.headers.cookie ?? "").split("; ").filter(Boolean);
  request.cookies = Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s, 2)));
  const media = (request.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  const parse = parsers[media] ?? ((bytes) => bytes);
  if (request.bytes.length > 0) request.body = parse(request.bytes);
  next();
}

// After a request that is rejected, the others of the chain go on as if it were not.
function noteRejection(error, request, _response, next) {
  request.verdict.request = `${error.status ?? 400} ${error.message}`;
  next();
}

function forward(request) {
  return new Promise((resolve, reject) => {
    const [hostname, port] = upstream.split(":");
    const { method, url, rawHeaders } = request;
    const options = { hostname, port, method, path: url, headers: rawHeaders, agent: false };
    const forwarded = http.request(options, async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ response, bytes: Buffer.concat(chunks) });
    });
    forwarded.on("error", reject);
    forwarded.end(request.bytes);
  });
}

async function answer(request, response) {
  const { response: received, bytes } = await forward(request);
  const media = received.headers["content-type"];
  request.finish = () => {
    const verdict = encodeURIComponent(JSON.stringify(request.verdict));
    response.sendDate = false;
    response.writeHead(received.statusCode, [...received.rawHeaders, "X-Verdict", verdict]);
    response.end(bytes);
  };
  // The validator wraps `json`, and this is its copy of the response.
  response.statusCode = received.statusCode;
  if (!request.openapi) request.verdict.skipped = "not in the document";
  else if (bytes.length > 0 && !/[/+]json/.test(media))
    request.verdict.skipped = "the validator reads only JSON";
  if (request.verdict.skipped) return request.finish();
  if (media) response.setHeader("Content-Type", media);
  response.json(bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined);
}

const app = express();
app.disable("x-powered-by");
app.use(readBody, noteRejection, requests, noteRejection);
app.use((request, response, next) => {
  delete request.openapi;
  response.json = () => request.finish();
  next();
});
app.use(responses, (error, request, _response, next) => next(), answer);
const server = http.createServer({ requireHostHeader: false, maxHeaderSize: 65536 }, app);
server.listen(Number(port), "127.0.0.1");
