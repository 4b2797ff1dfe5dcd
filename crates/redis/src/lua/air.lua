-- Has Redis forget who has read the lists that have nothing: those who are gone would be remembered for as long as no message
-- of that priority comes. Who lives is told of a change, and looks once.
local seen = {}
for _, owner in ipairs(redis.call('ZRANGE', OWNERS, 0, -1)) do
    for _, queue in ipairs(redis.call('SMEMBERS', OWNED .. owner)) do
        for _, step in ipairs(seen[queue] and {} or STEPS) do
            if redis.call('EXISTS', list(queue, step)) == 0 then
                forget(list(queue, step))
            end
        end
        seen[queue] = true
    end
end
return 0
