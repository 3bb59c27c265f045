#!lua flags=no-writes
-- Reads one run as of the last commit. Writes nothing, so a full server runs it, and a user that may only read these keys
-- can ask for it. What a commit left to be put in or taken out is taken into account.
--
-- KEYS  rows, live, done, redo and old of a partition, as in partition.lua
-- ARGV  the run
--
-- Answers {its row, its state}; nothing in the place of what is not there.

local rows, live, done, redo, old = unpack(KEYS, 1, 5)
local run = ARGV[1]

local at = redis.call('LPOS', redo, run)
if at then
  local row = redis.call('LINDEX', redo, at + 1)
  if row == '' then return {false, false} end
  return {row, redis.call('LINDEX', redo, at + 2)}
end
if redis.call('HEXISTS', old, run) == 1 then return {false, false} end
local state = redis.call('HGET', live, run) or redis.call('HGET', done, run)
return {redis.call('HGET', rows, run), state}
