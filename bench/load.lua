-- Arguments after "--": the method, the body, and headers as "Name: value".
-- Prints one line of JSON at the end, with percentiles that wrk's own report does not have.

function init(args)
  wrk.method = args[1]
  if args[2] ~= "" then
    wrk.body = args[2]
  end
  for number = 3, #args do
    local name, value = args[number]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
end

function done(summary, latency, requests)
  local lost = summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "bytes": %d, "lost": %d, "not_2xx": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, lost, summary.errors.status,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000
  ))
end
