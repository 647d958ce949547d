-- wrk -s requests.lua URL -- FILE: sends the requests of FILE in turn, again and again. One a line:
--   METHOD <tab> path <tab> secret <tab> body
-- They are formatted before the run, so that the script costs one table look-up a request.
-- Prints one line of JSON at the end.

local function read_requests(path)
  local requests = {}
  for line in io.lines(path) do
    local method, target, secret, body = line:match("^(%u+)\t(%S+)\t(%S*)\t(.*)$")
    assert(method, "not a request: " .. line)
    local headers = { Authorization = "Key " .. secret, Host = wrk.headers["Host"] }
    if body == "" then
      body = nil
    else
      headers["Content-Type"] = "application/json"
    end
    requests[#requests + 1] = wrk.format(method, target, headers, body)
  end
  return requests
end

function init(args)
  local requests = read_requests(args[1])
  local last = 0
  function request()
    last = last % #requests + 1
    return requests[last]
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"seconds":%.4f,"p50_ms":%.3f,"p99_ms":%.3f,"bad_answers":%d,"broken":%d}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
