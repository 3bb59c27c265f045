-- What is there, and whether it can be used. Changes nothing.
--
-- Answers {how it is, why, the mark, the partition's state, turn, how many live runs, how many done ones}.

local state, damage = look()
if damage then return {'damaged', damage, '', '', 0, 0, 0} end
if not state then return {'nothing', '', '', '', 0, 0, 0} end
if state.unsettled then return {'unsettled', '', '', '', 0, 0, 0} end
local kept = redis.call('HMGET', meta, 'partition', 'turn')
if not (kept[1] and kept[2]) then return {'damaged', 'its state is missing', '', '', 0, 0, 0} end
return {'whole', '', state.mark, kept[1], tonumber(kept[2]), state.live, state.done}
