-- Reads the header of a checkpoint and checks it. Writes nothing.
--
-- Returns {condition, reason, mark, partition's state, turn, number of live runs, number of finished runs}.

local state, damage = look()
if damage then return {'damaged', damage, '', '', 0, 0, 0} end
if not state then return {'nothing', '', '', '', 0, 0, 0} end
if state.incomplete then return {'incomplete', '', '', '', 0, 0, 0} end
local stored = redis.call('HMGET', meta, 'partition', 'turn')
if not (stored[1] and stored[2]) then return {'damaged', 'its state is missing', '', '', 0, 0, 0} end
return {'whole', '', state.mark, stored[1], tonumber(stored[2]), state.live, state.done}
