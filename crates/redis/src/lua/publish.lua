-- exchange, key, payload, step, kind or '', channel, mandatory. Returns how many took it; -1 without such an exchange.
local exchange, key, payload, step, kind, channel, mandatory = unpack(ARGV)
step = tonumber(step)
if exchange == '' then
    -- Who is not mandatory may know a queue that nobody ever declared here, as a Python client's for its results.
    if mandatory == '1' and not exists(key) then
        return 0
    end
    push('LPUSH', key, step, payload)
    return 1
end
if kind == '' then
    local row = redis.call('HGET', EXCHANGES, exchange)
    kind = row and row:match('^(%a+)|')
    if not kind and redis.call('EXISTS', BINDING .. exchange) == 0 then
        return -1
    end
end
if kind == 'fanout' then
    return redis.call('PUBLISH', channel, payload)
end
local queues = route(exchange, key)
for _, queue in ipairs(queues) do
    push('LPUSH', queue, step, payload)
end
return #queues
