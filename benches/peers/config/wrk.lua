-- The request of `run`, and its counts as one line of JSON.
local text

function init(arguments)
    local method, kind, token = arguments[1], arguments[2], arguments[3]
    wrk.method = method
    wrk.headers["Host"] = "jira.gate.internal"
    wrk.headers["Authorization"] = "Bearer " .. token
    wrk.headers["Accept"] = "application/json"
    wrk.headers["User-Agent"] = "assist/2.7.1"
    wrk.headers["Accept-Encoding"] = "gzip, deflate"
    if kind == "upload" then
        wrk.headers["Content-Type"] = "application/octet-stream"
        wrk.body = string.rep("x", 1024 * 1024)
    elseif kind == "close" then
        wrk.headers["Connection"] = "close"
    end
    text = wrk.format()
end

function request()
    return text
end

function done(summary)
    local errors = summary.errors
    print(string.format('{"requests": %d, "micros": %d, "failed": %d}', summary.requests, summary.duration,
        errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
