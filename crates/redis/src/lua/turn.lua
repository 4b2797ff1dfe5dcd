-- Ends leases, and takes messages as new ones.
-- ARGV: the owner's part of tags, the next number, how many leases fit, whether queues are served evenly, how many
-- leases end, their numbers, then of each queue: name, name as JSON, how many fit, whether nothing is to be leased.
-- KEYS: the lists of each queue, those of one queue together. Redis tells who reads them here when they change, so the
-- last thing that is done is to read each again. Returns nothing when the owner was buried: nobody would give back what
-- he took.
local prefix, number, room, evenly, ended = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[5])
-- What is answered at once: Redis cuts off a socket that listens to a channel as well when it is owed more than 8 MB for
-- long, or 32 MB.
local SLICE, MOST_BYTES = 32, 4194304

local tags = {}
for index = 1, ended do
    tags[#tags + 1] = prefix .. ARGV[5 + index]
    if #tags == 1000 or index == ended then
        redis.call('HDEL', UNACKED, unpack(tags))
        redis.call('ZREM', INDEX, unpack(tags))
        tags = {}
    end
end

if ARGV[6 + ended] and not counts(prefix:match('^[^.]*')) then
    return false
end
local queues, at = {}, 5 + ended
while ARGV[at + 1] do
    local queue = { name = ARGV[at + 1], json = ARGV[at + 2], room = tonumber(ARGV[at + 3]), free = ARGV[at + 4] == '1' }
    local row = redis.call('HGET', QUEUES, queue.name)
    queue.gone = not row
    queue.expires = row and row:match('^(%d+)|')
    queues[#queues + 1] = queue
    at = at + 4
end
local first, time, bytes, groups = number, seconds(), 0, {}

local function key(index, step)
    return KEYS[(index - 1) * #STEPS + step]
end

-- What is no list counts as empty, and is told.
local function length(index, step)
    local found = redis.pcall('LLEN', key(index, step))
    if type(found) == 'number' then
        return found
    end
    queues[index].bad = true
    return 0
end

-- The lease is written before the message leaves its list: a write that is refused loses nothing.
local function take(index, step, count)
    local queue, from = queues[index], key(index, step)
    while count > 0 and bytes < MOST_BYTES do
        local found = redis.call('LRANGE', from, -math.min(count, SLICE), -1)
        if #found == 0 then
            return
        end
        local group, leases, scores, taken = { index, number }, {}, {}, 0
        for position = #found, 1, -1 do
            local payload, tag = found[position], prefix .. number
            if bytes > 0 and bytes + #payload > MOST_BYTES then
                bytes, count = MOST_BYTES, 0
                break
            end
            taken = taken + 1
            group[#group + 1] = payload
            leases[#leases + 1] = tag
            leases[#leases + 1] = '[' .. payload .. ', "", ' .. queue.json .. ']'
            scores[#scores + 1] = time
            scores[#scores + 1] = tag
            bytes = bytes + #payload
            number = number + 1
        end
        if taken == 0 then
            return
        end
        if not queue.free then
            redis.call('HSET', UNACKED, unpack(leases))
            redis.call('ZADD', INDEX, unpack(scores))
            room = room - taken
        end
        redis.call('LTRIM', from, 0, -(taken + 1))
        queue.room = queue.room - taken
        count = count - taken
        groups[#groups + 1] = group
    end
end

-- As many of each queue as fit: an equal share of what fits in all, or all there is of the first.
local function shares(step)
    local waiting, share, left = {}, {}, room
    for index, queue in ipairs(queues) do
        waiting[index] = queue.gone and 0 or math.min(length(index, step), queue.room)
        share[index] = 0
    end
    repeat
        local hungry, given = 0, 0
        for index = 1, #queues do
            hungry = hungry + (share[index] < waiting[index] and 1 or 0)
        end
        local each = evenly and math.max(1, math.floor(left / math.max(hungry, 1))) or left
        for index, queue in ipairs(queues) do
            local more = math.min(queue.free and queue.room or math.min(each, left), waiting[index] - share[index])
            share[index] = share[index] + more
            given = given + more
            left = queue.free and left or left - more
        end
    until given == 0
    return share
end

for step = 1, #STEPS do
    for index, count in ipairs(shares(step)) do
        take(index, step, count)
    end
end

local more, gone, bad = 0, {}, {}
for index, queue in ipairs(queues) do
    local left = 0
    for step = 1, #STEPS do
        left = left + length(index, step)
    end
    if left > 0 then
        more = 1
        for step = 1, #STEPS do
            if queue.expires then
                redis.call('PEXPIRE', key(index, step), queue.expires)
            end
        end
    end
    if queue.gone then
        gone[#gone + 1] = queue.name
    end
    if queue.bad then
        bad[#bad + 1] = queue.name
    end
end
return { number - first, more, groups, gone, bad }
