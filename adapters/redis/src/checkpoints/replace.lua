-- Moves a checkpoint on by any number of chunks that were brought here before, or puts another one in its place. Takes
-- the same short time for all of them: what has to be put in and taken out is written down, and settled in pieces.
--
-- KEYS[8]  a list of chunks, as `redo`
-- ARGV     the mark it must have, or nothing to put another in its place; the mark it gets, that one's seq and life, the
--          partition's state, the number of items in all chunks, and the mark of what was found to be of no use
--
-- Answers {what became of it, the mark that is stored, why that cannot be used}.

local stage = KEYS[8]
local base, mark, seq, life, partition = unpack(ARGV, 1, 5)
local items, useless = tonumber(ARGV[6]), ARGV[7]

local state, damage = look()
local is_useless = state and base == '' and state.mark == useless
if base == '' and state and not is_useless then
  -- In place of its own past, and of nothing that somebody else has brought further since.
  local kept = redis.call('HMGET', meta, 'life', 'seq')
  local is_past = kept[1] == life and tonumber(kept[2]) and tonumber(kept[2]) <= tonumber(seq)
  if not is_past then return {'refused', state.mark, ''} end
end
if base ~= '' then
  if not state then return {'refused', '', damage or ''} end
  if state.mark ~= base then
    return {state.mark == mark and 'accepted' or 'refused', state.mark, ''}
  end
end
if state and state.unsettled then return {'unsettled', '', ''} end
if redis.call('LLEN', stage) ~= items then return {'lost', '', ''} end

if not state or is_useless then
  -- Of what is damaged nothing can be kept, nor of what the log does not tell: its finished runs would be ghosts.
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
