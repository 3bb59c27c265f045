-- Removes finished runs before a commit, so that a full server has room again. It also runs on a full server.
--
-- ARGV  the expected mark, then the runs
--
-- Returns 1 if it removed any.

local state = look()
if not state or state.incomplete or state.mark ~= ARGV[1] then return 0 end

local ids = {unpack(ARGV, 2)}
local found = redis.call('HMGET', rows, unpack(ids))
local expired = {}
for i, id in ipairs(ids) do
  if found[i] and is_done(found[i]) then expired[id] = found[i] end
end
if not next(expired) then return 0 end

begin()
remove(state, expired)
redis.call('HINCRBY', meta, 'turn', 1)
finish(state)
return 1
