-- Renews leases, so that no Python worker takes them for abandoned. ARGV: the owner's part of tags, their numbers.
local time = seconds()
for at = 2, #ARGV, 1000 do
    local scores = {}
    for index = at, math.min(at + 999, #ARGV) do
        scores[#scores + 1] = time
        scores[#scores + 1] = ARGV[1] .. ARGV[index]
    end
    redis.call('ZADD', INDEX, 'XX', unpack(scores))
end
return 0
