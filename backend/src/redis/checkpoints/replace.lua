-- Moves a checkpoint on by any number of chunks that were brought here before, or puts another one in its place. Takes
-- the same short time for all of them: what has to be put in and taken out is written down, and settled in pieces.
--
-- KEYS[8]  a list of chunks, as `redo`
-- ARGV     the mark it must have, or nothing to put another in its place; the mark it gets, the partition's state, the
--          number of items in all chunks
--
-- Answers {what became of it, the mark that is stored, why that cannot be used}.

local stage = KEYS[8]
local base, mark, partition, items = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local state, damage = look()
if base ~= '' then
  if not state then return {'refused', '', damage or ''} end
  if state.mark ~= base then
    return {state.mark == mark and 'accepted' or 'refused', state.mark, ''}
  end
end
if state and state.unsettled then return {'unsettled', '', ''} end
if redis.call('LLEN', stage) ~= items then return {'lost', '', ''} end

if not state then
  -- Of what is damaged nothing can be kept.
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
redis.call('HSET', meta, 'mark', mark, 'partition', partition)
redis.call('HINCRBY', meta, 'turn', 1)
finish(state)
return {'accepted', '', damage or ''}
