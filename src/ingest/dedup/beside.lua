-- What may stand beside requests that were just noted as under way: ids in doubt, and what other instances have under way. KEYS: the
-- set of instances, each of which has a hash of requests under this key and its own name, and the sets of prints in doubt. ARGV: this
-- instance, the seconds after which all of it is forgotten, and the prints of the requests, 8 bytes each. Returns those that are in
-- doubt, one after the other, and numbers of requests and their entries by turns.
local instances, own, kept, prints = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
redis.call('SADD', instances, own)
redis.call('EXPIRE', instances, kept)
redis.call('EXPIRE', instances .. ':' .. own, kept)
local in_doubt, others = {}, {}
for key = 2, #KEYS do
  if redis.call('EXISTS', KEYS[key]) == 1 then
    for first = 1, #prints, 8000 do -- a call takes some thousand arguments
      local some = {}
      for at = first, math.min(first + 7999, #prints), 8 do
        table.insert(some, string.sub(prints, at, at + 7))
      end
      for at, found in ipairs(redis.call('SMISMEMBER', KEYS[key], unpack(some))) do
        if found == 1 then
          table.insert(in_doubt, some[at])
        end
      end
    end
  end
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
return {table.concat(in_doubt), others}
