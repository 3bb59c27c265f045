-- Commits one chunk of runs to a checkpoint, if it has the mark that the caller expects.
--
-- ARGV  the expected mark, the new mark, its seq and life, the partition's state; then for each run its id, its row and its
--       state
--
-- Returns {decision, stored mark, reason why the stored checkpoint cannot be used}.

local base, mark, seq, life, partition = unpack(ARGV, 1, 5)

local state, damage = look()
if not state then return {'refused', '', damage or ''} end
if state.mark ~= base then
  return {state.mark == mark and 'accepted' or 'refused', state.mark, ''}
end
if state.incomplete then return {'incomplete', '', ''} end

begin()
apply(state, ARGV, 6)
redis.call('HSET', meta, 'mark', mark, 'seq', seq, 'life', life, 'partition', partition)
redis.call('HINCRBY', meta, 'turn', 1)
finish(state)
return {'accepted', '', ''}
