-- A roll: who is there, each until a moment by this server's clock.
--
-- KEYS[1]  a sorted set of names by the moment they vanish (ms)
-- KEYS[2]  a hash of what each says about itself
-- ARGV     the word, whose entry, for how long (ms), what it says
--
-- Answers everybody who is there, each as {name, entry}.

local times, entries = KEYS[1], KEYS[2]
local word, name, lifetime, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for _, gone in ipairs(redis.call('ZRANGE', times, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1000)) do
  redis.call('ZREM', times, gone)
  redis.call('HDEL', entries, gone)
end
if word == 'present' then
  redis.call('ZADD', times, string.format('%.0f', now + lifetime), name)
  redis.call('HSET', entries, name, entry)
elseif word == 'withdraw' then
  redis.call('ZREM', times, name)
  redis.call('HDEL', entries, name)
end

local present = {}
for _, there in ipairs(redis.call('ZRANGE', times, 0, -1)) do
  present[#present + 1] = {there, redis.call('HGET', entries, there) or ''}
end
return present
