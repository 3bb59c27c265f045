-- Does one step of the work that a commit has left: removes some replaced runs, or stores one chunk. It also runs on a
-- full server, since nothing can be loaded or expired before; the chunk is in memory already.
--
-- ARGV  the most runs to remove
--
-- Returns 1 if there is more to do.

local state = look()
if not state or not state.incomplete then return 0 end

if state.old > 0 then
  -- Reads come before begin(): if the server refuses one, the checkpoint must not stay torn.
  local ids = redis.call('HRANDFIELD', old, ARGV[1])
  local found = redis.call('HMGET', rows, unpack(ids))
  begin()
  local members = {}
  for i, id in ipairs(ids) do
    if found[i] then append(members, index_members(id, found[i])) end
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
