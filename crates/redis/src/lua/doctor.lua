-- What `redis doctor` asks and mends, each finding judged again as it is mended. ARGV: what, whether to mend, names.
local what, mend = ARGV[1], ARGV[2] == '1'

local function known(owner)
    return redis.call('ZSCORE', OWNERS, owner)
end

local function consumers(queue)
    local living, dead = {}, {}
    for _, consumer in ipairs(redis.call('SMEMBERS', CONSUMERS .. queue)) do
        local owner = consumer:match('^(.*)%.')
        local found = owner and known(owner) and living or dead
        found[#found + 1] = consumer
    end
    return living, dead
end

-- A queue that goes with an owner, though nobody is known who would take it along.
local function orphan(queue, living)
    local row = queue_row(queue)
    if not row or not (row.exclusive or row.auto_delete) or known(row.owner) or #living > 0 then
        return false
    end
    for _, owner in ipairs(redis.call('ZRANGE', OWNERS, 0, -1)) do
        if redis.call('SISMEMBER', OWNED .. owner, queue) == 1 then
            return false
        end
    end
    return true
end

if what == 'queue' then
    -- Returns whether it is an orphan, its consumers, those that are gone, and the lengths of its lists.
    local queue = ARGV[3]
    local living, dead = consumers(queue)
    local answer = { orphan(queue, living) and 1 or 0, #living, #dead }
    if mend and answer[1] == 1 then
        delete_queue(queue)
    elseif mend and #dead > 0 then
        redis.call('SREM', CONSUMERS .. queue, unpack(dead))
    end
    for _, step in ipairs(STEPS) do
        local length = redis.pcall('LLEN', list(queue, step))
        answer[#answer + 1] = type(length) == 'number' and length or -1
    end
    return answer
elseif what == 'timeless' then
    -- Leases that have no time: nobody ever gives them back. Mended, they are as old as can be.
    local found = {}
    for at = 3, #ARGV do
        local tag = ARGV[at]
        if redis.call('HEXISTS', UNACKED, tag) == 1 and not redis.call('ZSCORE', INDEX, tag) then
            found[#found + 1] = tag
            if mend then
                redis.call('ZADD', INDEX, 1, tag)
            end
        end
    end
    return found
elseif what == 'bindings' then
    -- Takes these members out of the table of an exchange.
    local exchange, count = ARGV[3], 0
    for at = 4, #ARGV do
        count = count + redis.call('SREM', BINDING .. exchange, ARGV[at])
        redis.call('SREM', PERMANENT .. exchange, ARGV[at])
    end
    if redis.call('EXISTS', BINDING .. exchange) == 0 then
        redis.call('ZREM', DEADLINES, exchange)
    end
    return count
elseif what == 'typed' then
    -- Which of these keys are of a type, which SCAN tells apart since Redis 6 only.
    local found = {}
    for at = 4, #ARGV do
        if redis.call('TYPE', ARGV[at]).ok == ARGV[3] then
            found[#found + 1] = ARGV[at]
        end
    end
    return found
elseif what == 'bound' then
    -- Whether there is a note of what a queue is bound to, though there is no such queue. Mended, it goes with its bindings.
    local queue = ARGV[3]
    local is_left = redis.call('EXISTS', BOUND .. queue) == 1 and not exists(queue)
    if mend and is_left then
        delete_queue(queue)
    end
    return is_left and 1 or 0
elseif what == 'owners' then
    -- All who are known, and when they were last seen.
    return redis.call('ZRANGE', OWNERS, 0, -1, 'WITHSCORES')
elseif what == 'owned' then
    -- What an owner has that is gone: whether there is anything.
    return known(ARGV[3]) and 0 or redis.call('EXISTS', OWNED .. ARGV[3])
end
return false
