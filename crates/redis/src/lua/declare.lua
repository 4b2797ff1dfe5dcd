-- ARGV: our name, then of each thing its letter and four fields. All is checked before anything is written.
-- 'x': exchange, kind, arguments; 'q': queue, expires, flags, arguments; 'b': queue, exchange, key, pattern;
-- Returns what is wrong and with what ('buried' when we were), or 'ok' and the kinds of the bindings' exchanges.
local me = ARGV[1]
local kinds, known, added = {}, {}, {}
local things = {}
for at = 2, #ARGV, 5 do
    things[#things + 1] = { unpack(ARGV, at, at + 4) }
end

local function kind_of(exchange)
    if kinds[exchange] then
        return kinds[exchange]
    end
    local row = redis.call('HGET', EXCHANGES, exchange)
    return row and row:match('^(%a+)|') or redis.call('EXISTS', BINDING .. exchange) == 1 and 'direct' or nil
end

for _, thing in ipairs(things) do
    local letter, name = thing[1], thing[2]
    if letter == 'x' then
        local row = redis.call('HGET', EXCHANGES, name)
        if row then
            local kind, owner, declared = row:match('^(%a+)|([^|]*)|(.*)$')
            -- What only the dead have declared is declared anew.
            if (kind ~= thing[3] or declared ~= thing[4]) and owner ~= me and alive(owner) then
                return { 'precondition', 'exchange ' .. name }
            end
        end
        kinds[name] = thing[3]
    elseif letter == 'q' then
        local row = queue_row(name)
        if row and row.owner ~= me and alive(row.owner) then
            if row.exclusive then
                return { 'refused', name }
            elseif row.declared ~= "" and row.declared ~= thing[5] then
                return { 'precondition', 'queue ' .. name }
            end
        end
        if thing[4] ~= '' and not counts(me) then
            return { 'buried' }
        end
        known[name] = true
    else
        local exchange = thing[3]
        local kind = kind_of(exchange)
        if not kind then
            return { 'missing', 'exchange ' .. exchange }
        elseif not known[name] and not exists(name) then
            return { 'missing', 'queue ' .. name }
        end
        added[#added + 1] = kind
    end
end

for _, thing in ipairs(things) do
    local letter, name = thing[1], thing[2]
    if letter == 'x' then
        redis.call('HSET', EXCHANGES, name, thing[3] .. '|' .. me .. '|' .. thing[4])
    elseif letter == 'q' then
        local row = queue_row(name)
        -- Who declared it first and lives goes on to own it; an exclusive queue of the dead goes with its messages.
        if row and row.exclusive and row.owner ~= me then
            delete_queue(name)
            row = nil
        end
        local owner = row and alive(row.owner) and row.owner or me
        redis.call('HSET', QUEUES, name, thing[3] .. '|' .. thing[4] .. '|' .. owner .. '|' .. thing[5])
        if thing[4] ~= '' then
            redis.call('SADD', OWNED .. me, name)
        end
    elseif kind_of(thing[3]) ~= 'fanout' then
        bind(name, thing[3], thing[4] .. SEP .. thing[5] .. SEP .. name)
    end
end
return { 'ok', unpack(added) }
