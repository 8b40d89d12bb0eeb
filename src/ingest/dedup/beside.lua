-- What may stand beside requests that were just noted as under way: ids in doubt, and what other instances have under way. KEYS: the
-- set of instances, each of which has a hash of requests under this key and its own name, and the sets of prints in doubt. ARGV: this
-- instance, and the seconds after which all of it is forgotten. Returns the number of prints in doubt, and numbers of requests and
-- their entries by turns.
local instances, own, kept = KEYS[1], ARGV[1], ARGV[2]
redis.call('SADD', instances, own)
redis.call('EXPIRE', instances, kept)
redis.call('EXPIRE', instances .. ':' .. own, kept)
local in_doubt, others = 0, {}
for key = 2, #KEYS do
  in_doubt = in_doubt + redis.call('SCARD', KEYS[key])
end
for _, instance in ipairs(redis.call('SMEMBERS', instances)) do
  if instance ~= own then
    local requests = redis.call('HGETALL', instances .. ':' .. instance)
    for _, part in ipairs(requests) do
      table.insert(others, part)
    end
    if #requests == 0 then
      redis.call('SREM', instances, instance) -- it comes back with its next request
    end
  end
end
return {in_doubt, others}
