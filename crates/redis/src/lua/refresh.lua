-- Holds up the bindings of the queues that go with an owner, those that expire, for another while. ARGV: who.
for _, queue in ipairs(redis.call('SMEMBERS', OWNED .. ARGV[1])) do
    local row = queue_row(queue)
    for _, bound in ipairs(row and row.expires and redis.call('SMEMBERS', BOUND .. queue) or {}) do
        local at = bound:find(SEP, 1, true)
        bind(queue, bound:sub(1, at - 1), bound:sub(at + #SEP))
    end
end
return 0
