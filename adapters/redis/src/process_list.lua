-- Runs an operation on a list of processes, whose entries expire by this server's clock.
--
-- KEYS[1]  a sorted set of names by the time at which they expire (ms)
-- KEYS[2]  a hash of the entries by name
-- ARGV     the operation, the name of the process, its lifetime (ms), its entry
--
-- Returns all processes, each as {name, entry}.

local times, entries = KEYS[1], KEYS[2]
local operation, name, lifetime, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for _, expired in ipairs(redis.call('ZRANGE', times, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1000)) do
  redis.call('ZREM', times, expired)
  redis.call('HDEL', entries, expired)
end
if operation == 'present' then
  redis.call('ZADD', times, string.format('%.0f', now + lifetime), name)
  redis.call('HSET', entries, name, entry)
elseif operation == 'withdraw' then
  redis.call('ZREM', times, name)
  redis.call('HDEL', entries, name)
end

local processes = {}
for _, process in ipairs(redis.call('ZRANGE', times, 0, -1)) do
  processes[#processes + 1] = {process, redis.call('HGET', entries, process) or ''}
end
return processes
