-- exchange, key, payload, step, kind or '', channel, mandatory, the channel's old name or ''. Returns how many took it; -1 without such an exchange.
local exchange, key, payload, step, kind, channel, mandatory, old = unpack(ARGV)
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
    local heard = redis.call('PUBLISH', channel, payload)
    return old == '' and heard or heard + redis.call('PUBLISH', old, payload)
end
local queues = route(exchange, key)
for _, queue in ipairs(queues) do
    push('LPUSH', queue, step, payload)
end
return #queues
