-- A token bucket as the moment at which it is full again (GCRA). KEYS: the bucket. ARGV: tokens a second, tokens of a
-- full bucket, tokens to take. Returns whether they were taken (-1: Redis takes no writes), the tokens that remain, and
-- in how many microseconds there will be enough.
local rate, burst, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local remaining = burst - (full - now) * rate
if remaining < count then
  return {0, math.max(math.floor(remaining), 0), math.ceil((count - remaining) / rate * 1000000)}
end
full = full + count / rate
local stored = redis.pcall('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000) + 1)
if stored.err then
  return {-1, 0, 0}
end
return {1, math.floor(remaining - count), 0}
