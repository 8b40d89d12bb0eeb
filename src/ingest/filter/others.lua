-- The requests that other instances have under way. KEYS: a hash of requests by their numbers. ARGV: what the numbers of this
-- instance begin with. Returns numbers and entries by turns.
local others = {}
for _, number in ipairs(redis.call('HKEYS', KEYS[1])) do
  if number:sub(1, #ARGV[1]) ~= ARGV[1] then
    table.insert(others, number)
    table.insert(others, redis.call('HGET', KEYS[1], number))
  end
end
return others
