-- Does one piece of what a commit left to be done: takes some replaced runs out, or puts one chunk in. A full server runs
-- it, since nothing can be loaded or expired before; the chunk is in memory already.
--
-- ARGV  how many runs to take out at most
--
-- Answers 1 if there is more to do.

local state = look()
if not state or not state.unsettled then return 0 end

if state.old > 0 then
  -- Reads come first: a server that refuses one must not leave the checkpoint torn.
  local ids = redis.call('HRANDFIELD', old, ARGV[1])
  local found = redis.call('HMGET', rows, unpack(ids))
  begin()
  local members = {}
  for i, id in ipairs(ids) do
    if found[i] then append(members, places(id, found[i])) end
  end
  call('ZREM', index, members)
  call('HDEL', rows, ids)
  call('HDEL', old, ids)
else
  begin()
  local items = tonumber(redis.call('LPOP', redo))
  apply(state, redis.call('LPOP', redo, items), 1)
  state.redo = state.redo - 1 - items
end
finish(state)
return (state.redo > 0 or redis.call('EXISTS', old) == 1) and 1 or 0
