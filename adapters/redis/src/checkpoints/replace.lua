-- Commits any number of staged chunks to a checkpoint, or replaces it. The time does not depend on their number: the
-- runs that have to be stored and removed are recorded, and completed in steps.
--
-- KEYS[8]  the stage: a list of chunks, like `redo`
-- ARGV     the expected mark, or an empty string to replace the checkpoint; the new mark, its seq and life, the partition's state,
--          the number of items in all chunks, and the mark of a checkpoint that was found to be useless
--
-- Returns {decision, stored mark, reason why the stored checkpoint cannot be used}.

local stage = KEYS[8]
local base, mark, seq, life, partition = unpack(ARGV, 1, 5)
local items, useless = tonumber(ARGV[6]), ARGV[7]

local state, damage = look()
local is_useless = state and base == '' and state.mark == useless
if base == '' and state and not is_useless then
  -- It replaces its own past, but no checkpoint that another leader has advanced since.
  local stored = redis.call('HMGET', meta, 'life', 'seq')
  local is_past = stored[1] == life and tonumber(stored[2]) and tonumber(stored[2]) <= tonumber(seq)
  if not is_past then return {'refused', state.mark, ''} end
end
if base ~= '' then
  if not state then return {'refused', '', damage or ''} end
  if state.mark ~= base then
    return {state.mark == mark and 'accepted' or 'refused', state.mark, ''}
  end
end
if state and state.incomplete then return {'incomplete', '', ''} end
if redis.call('LLEN', stage) ~= items then return {'lost', '', ''} end

if not state or is_useless then
  -- Nothing of a damaged checkpoint can be kept, nor of one that contradicts the log: its finished runs never existed.
  redis.call('UNLINK', meta, live, done, rows, index, redo, old)
  state = {live = 0, done = 0}
end
begin()
if base == '' and state.live > 0 then
  redis.call('RENAME', live, old)
  state.live = 0
end
if items > 0 then
  redis.call('RENAME', stage, redo)
  redis.call('PERSIST', redo)
end
state.redo = items
redis.call('HSET', meta, 'mark', mark, 'seq', seq, 'life', life, 'partition', partition)
redis.call('HINCRBY', meta, 'turn', 1)
finish(state)
return {'accepted', '', damage or ''}
