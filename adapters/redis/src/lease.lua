-- Runs an operation on the lease on a partition: a string with the name of its holder, which expires.
--
-- KEYS[1]  the lease
-- ARGV     the operation, the node, the length of the lease (ms)
--
-- Returns 1 if the lease was free or the caller held it.

local holder = redis.call('GET', KEYS[1])
local is_holder = holder == ARGV[2]
if ARGV[1] == 'hold' and (is_holder or not holder) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
if ARGV[1] == 'release' and is_holder then
  redis.call('DEL', KEYS[1])
  return 1
end
return 0
