-- What all scripts share. Before it stand PREFIX, SEP, STEPS, UNACKED, INDEX, by the transport's options.
local BINDING, PERMANENT = PREFIX .. '_kombu.binding.', PREFIX .. '_kombu.binding_permanent.'
local DEADLINES = PREFIX .. '_kombu.binding_deadlines'
local OWN = PREFIX .. 'celeriac.'
-- Who takes leases, by his last sign of life in ms; the queues that go with him; who consumes a queue; its bindings.
local OWNERS, OWNED, CONSUMERS, BOUND = OWN .. 'owners', OWN .. 'owner.', OWN .. 'consumers.', OWN .. 'bound.'
-- What was declared: 'expires|flags|owner|arguments' and 'kind|owner|arguments'.
local QUEUES, EXCHANGES = OWN .. 'queues', OWN .. 'exchanges'
local DEAD = 6000

local function list(queue, step)
    if step == 0 then
        return PREFIX .. queue
    end
    return PREFIX .. queue .. SEP .. step
end

local function seconds()
    local time = redis.call('TIME')
    return time[1] .. '.' .. string.format('%06d', time[2])
end

local function millis()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function alive(owner)
    local seen = redis.call('ZSCORE', OWNERS, owner)
    return seen and millis() - tonumber(seen) < DEAD * 1.5
end

-- Whether others take an owner for alive, or may: who was buried counts no more, however late he learns of it.
local function counts(owner)
    local seen = redis.call('ZSCORE', OWNERS, owner)
    return seen and tonumber(seen) > 0
end

local function queue_row(queue)
    local row = redis.call('HGET', QUEUES, queue)
    if not row then
        return nil
    end
    local expires, flags, owner, declared = row:match('^(%d*)|(%a*)|([^|]*)|(.*)$')
    local exclusive, auto_delete = flags:find('e', 1, true), flags:find('a', 1, true)
    return { expires = tonumber(expires), exclusive = exclusive, auto_delete = auto_delete, owner = owner,
        declared = declared }
end

-- Redis forgets an empty list, so a queue is there when it was declared here, is bound as Celery binds one, or has
-- something in it.
local function exists(queue)
    if redis.call('HEXISTS', QUEUES, queue) == 1 or redis.call('EXISTS', BINDING .. queue) == 1 then
        return true
    end
    for _, step in ipairs(STEPS) do
        if redis.call('EXISTS', list(queue, step)) == 1 then
            return true
        end
    end
    return false
end

-- A queue that expires holds up the bindings of its exchange for an hour at least, as kombu has it.
local function bind(queue, exchange, member)
    local row = queue_row(queue)
    redis.call('SADD', BINDING .. exchange, member)
    redis.call('SADD', BOUND .. queue, exchange .. SEP .. member)
    if row and row.expires then
        local deadline = millis() + math.max(2 * row.expires, 3600000)
        local score = redis.call('ZSCORE', DEADLINES, exchange)
        if not score or tonumber(score) < deadline then
            redis.call('ZADD', DEADLINES, deadline, exchange)
        end
    else
        redis.call('SADD', PERMANENT .. exchange, member)
    end
end

-- Takes a key away. Redis remembers who has read it until it changes, also one that is not there, and who is gone by now.
local function forget(key)
    if redis.call('DEL', key) == 0 then
        redis.pcall('SET', key, '')
        redis.call('DEL', key)
    end
end

local function delete_queue(queue)
    for _, bound in ipairs(redis.call('SMEMBERS', BOUND .. queue)) do
        local at = bound:find(SEP, 1, true)
        local exchange, member = bound:sub(1, at - 1), bound:sub(at + #SEP)
        redis.call('SREM', BINDING .. exchange, member)
        redis.call('SREM', PERMANENT .. exchange, member)
        if redis.call('EXISTS', BINDING .. exchange) == 0 then
            redis.call('ZREM', DEADLINES, exchange)
        end
    end
    -- As a Python worker binds it.
    redis.call('SREM', BINDING .. queue, queue .. SEP .. SEP .. queue)
    redis.call('SREM', PERMANENT .. queue, queue .. SEP .. SEP .. queue)
    for _, step in ipairs(STEPS) do
        forget(list(queue, step))
    end
    forget(BOUND .. queue)
    forget(CONSUMERS .. queue)
    redis.call('HDEL', QUEUES, queue)
end

-- A consumer is 'owner.session', with a '!' behind it when it wants to be alone.
local function unsubscribe(queue, consumer)
    redis.call('SREM', CONSUMERS .. queue, consumer, consumer .. '!')
    local row = queue_row(queue)
    if row and row.auto_delete and redis.call('EXISTS', CONSUMERS .. queue) == 0 then
        delete_queue(queue)
    end
end

local function words(text)
    local found = {}
    for word in (text .. '.'):gmatch('([^.]*)%.') do
        found[#found + 1] = word
    end
    return found
end

-- As AMQP matches topics; only the last '#' is ever tried again.
local function matches(pattern, key)
    if pattern == '' then
        return key == ''
    end
    local p, k = words(pattern), key == '' and {} or words(key)
    local at, word, hash, from = 1, 1, nil, nil
    while true do
        if p[at] == '#' then
            hash, from, at = at, word, at + 1
        elseif p[at] and k[word] and (p[at] == '*' or p[at] == k[word]) then
            at, word = at + 1, word + 1
        elseif not p[at] and not k[word] then
            return true
        elseif hash and from <= #k then
            from = from + 1
            at, word = hash + 1, from
        else
            return false
        end
    end
end

-- The queues that are bound to an exchange for a key, each once. Bindings of a topic exchange have a pattern, by which
-- Python matches.
local function route(exchange, key)
    local queues, seen = {}, {}
    for _, member in ipairs(redis.call('SMEMBERS', BINDING .. exchange)) do
        local one = member:find(SEP, 1, true)
        local two = one and member:find(SEP, one + #SEP, true)
        if two then
            local bound, pattern = member:sub(1, one - 1), member:sub(one + #SEP, two - 1)
            local queue = member:sub(two + #SEP)
            local fits = pattern == '' and bound == key or pattern ~= '' and matches(bound, key)
            if fits and queue ~= '' and not seen[queue] then
                seen[queue] = true
                queues[#queues + 1] = queue
            end
        end
    end
    return queues
end

local function push(command, queue, step, payload)
    redis.call(command, list(queue, step), payload)
    local row = redis.call('HGET', QUEUES, queue)
    local expires = row and row:match('^(%d+)|')
    if expires then
        for _, other in ipairs(STEPS) do
            redis.call('PEXPIRE', list(queue, other), expires)
        end
    end
end
