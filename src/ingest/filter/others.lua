-- What other instances have under way. KEYS: the set of instances that have something under way, each of which has a hash of requests
-- under this key and its own name. ARGV: this instance, and the seconds after which the set is forgotten. Returns numbers of requests
-- and their entries by turns.
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
local others = {}
for _, instance in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if instance ~= ARGV[1] then
    local requests = redis.call('HGETALL', KEYS[1] .. ':' .. instance)
    for _, part in ipairs(requests) do
      table.insert(others, part)
    end
    if #requests == 0 then
      redis.call('SREM', KEYS[1], instance) -- it comes back with its next request
    end
  end
end
return others
