-- The lease on a partition: a string that holds its holder, and ends with its time.
--
-- KEYS[1]  the lease
-- ARGV     the word, who says it, how long to hold it (ms)
--
-- Answers 1 if the lease was the caller's to have.

local holder = redis.call('GET', KEYS[1])
local mine = holder == ARGV[2]
if ARGV[1] == 'hold' and (mine or not holder) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
if ARGV[1] == 'release' and mine then
  redis.call('DEL', KEYS[1])
  return 1
end
return 0
