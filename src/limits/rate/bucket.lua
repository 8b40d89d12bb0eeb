-- A token bucket as the moment at which it is full again (GCRA). KEYS: the bucket. ARGV: tokens a second, tokens of a
-- full bucket, and for each who asks the tokens to take. Returns for each whether they were taken, the tokens that remain,
-- and in how many microseconds there will be enough; nothing if Redis takes no writes.
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local full, answers = before, {}
for asks = 3, #ARGV do
  local count = tonumber(ARGV[asks])
  local remaining = burst - (full - now) * rate
  if remaining < count then
    table.insert(answers, {0, math.max(math.floor(remaining), 0), math.ceil((count - remaining) / rate * 1000000)})
  else
    full = full + count / rate
    table.insert(answers, {1, math.floor(remaining - count), 0})
  end
end
if full > before then
  local stored = redis.pcall('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000) + 1)
  if stored.err then
    return {}
  end
end
return answers
