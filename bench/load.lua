-- Arguments after "--": the method, a number of bodies, these, and headers as "Name: value".
-- The bodies are sent in turn, since SQLite writes nothing if a value does not change.
-- Prints one line of JSON at the end, with percentiles that wrk's own report lacks.

local requests = {}
local number = 0

function init(args)
  wrk.method = args[1]
  local bodies = tonumber(args[2])
  for place = 3 + bodies, #args do
    local name, value = args[place]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  for place = 3, 2 + bodies do
    table.insert(requests, wrk.format(nil, nil, nil, args[place]))
  end
  if bodies == 0 then
    table.insert(requests, wrk.format())
  end
end

function request()
  number = number % #requests + 1
  return requests[number]
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
