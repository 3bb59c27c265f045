#!lua flags=no-writes
-- Reads one run as of the last commit. It writes nothing, so it also runs on a full server, and for a user that may
-- only read these keys. It takes into account what an incomplete commit has not stored or removed yet.
--
-- KEYS  rows, live, done, redo and old of a partition, as in partition.lua
-- ARGV  the run
--
-- Returns {row, state}; false in the place of a missing one.

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
