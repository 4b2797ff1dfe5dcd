-- What is done to one queue. ARGV: what, the queue, then as below. Returns -1 when it does not exist, -3 when we were buried.
local what, queue, me, consumer, alone = unpack(ARGV)
if what == 'delete' then
    delete_queue(queue)
    return 0
elseif what == 'unsubscribe' then
    unsubscribe(queue, consumer)
    local row, mine = queue_row(queue), false
    for _, other in ipairs(redis.call('SMEMBERS', CONSUMERS .. queue)) do
        mine = mine or other:sub(1, #me + 1) == me .. '.'
    end
    -- What goes with us, we own whether we consume it or not.
    if not row or not mine and not row.exclusive and not row.auto_delete then
        redis.call('SREM', OWNED .. me, queue)
    end
    return 0
elseif what == 'subscribe' and not counts(me) then
    return -3
elseif not exists(queue) then
    return -1
elseif what == 'subscribe' then
    local row = queue_row(queue)
    if row and row.exclusive and row.owner ~= me and alive(row.owner) then
        return -2
    end
    for _, other in ipairs(redis.call('SMEMBERS', CONSUMERS .. queue)) do
        local owner = other:match('^(.*)%.')
        if other == consumer or other == consumer .. '!' then
            -- It is us.
        elseif not owner or owner ~= me and not alive(owner) then
            redis.call('SREM', CONSUMERS .. queue, other)
        elseif alone == '1' or other:sub(-1) == '!' then
            return -2
        end
    end
    if not row then
        redis.call('HSET', QUEUES, queue, '||' .. me .. '|')
    end
    redis.call('SADD', CONSUMERS .. queue, alone == '1' and consumer .. '!' or consumer)
    redis.call('SADD', OWNED .. me, queue)
    return 0
end
local count = 0
for _, step in ipairs(STEPS) do
    count = count + redis.call('LLEN', list(queue, step))
    if what == 'purge' then
        redis.call('DEL', list(queue, step))
    end
end
return count
