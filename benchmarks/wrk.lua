-- One POST over and over; the figures as one line of JSON. Errors count as such, not as requests.
local file = assert(io.open(os.getenv("BENCHMARK_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("BENCHMARK_KEY")

-- With BENCHMARK_UNIQUE every query begins with another number, so that no cache has its answer.
if os.getenv("BENCHMARK_UNIQUE") then
   local head, tail = wrk.body:match('^(.-"query": ")(.*)$')
   local number = os.time() * 1000000
   function request()
      number = number + 1
      return wrk.format(nil, nil, nil, head .. string.format("%.0f ", number) .. tail)
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "errors": %d, "p50": %.1f, "p99": %.1f}\n',
      summary.requests, summary.duration / 1e6,
      errors.status + errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99)))
end
