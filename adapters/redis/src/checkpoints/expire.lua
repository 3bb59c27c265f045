-- Takes finished runs out before anything is put in, so that a full server has room again. A full server runs it.
--
-- ARGV  the mark the checkpoint must have, then the runs

local state = look()
if not state or state.unsettled or state.mark ~= ARGV[1] then return 0 end

local ids = {unpack(ARGV, 2)}
local found = redis.call('HMGET', rows, unpack(ids))
local gone = {}
for i, id in ipairs(ids) do
  if found[i] and is_done(found[i]) then gone[id] = found[i] end
end
if not next(gone) then return 0 end

begin()
remove(state, gone)
redis.call('HINCRBY', meta, 'turn', 1)
finish(state)
return 1
