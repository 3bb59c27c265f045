-- The keys of a partition, and functions that change them. Every script on checkpoints begins with this file.
--
-- KEYS[1] meta   a hash: mark, and its seq and life (incarnation of the log, and format); partition (the machine's state beside
--                the runs), turn (number of commits), and the numbers of entries of other keys: live, done, redo; torn
--                while a script changes them
-- KEYS[2] live   a hash: the state of every run that is not finished, by run
-- KEYS[3] done   a hash: the state of every finished run that is still kept, by run
-- KEYS[4] rows   a hash: the row of every run, live or finished, by run
-- KEYS[5] index  a sorted set without scores: the orders in which runs are listed
-- KEYS[6] redo   a list: runs that belong to the checkpoint and are not stored in the other keys yet, in chunks: the number of
--                items that follow, and then for each run its id, its row and its state
-- KEYS[7] old    a hash: the live runs of a replaced checkpoint that are not removed yet

local meta, live, done, rows, index, redo, old = unpack(KEYS, 1, 7)

local kinds = {
  {meta, 'hash'}, {live, 'hash'}, {done, 'hash'}, {rows, 'hash'}, {index, 'zset'}, {redo, 'list'}, {old, 'hash'},
}

-- Returns the state of the checkpoint, or nil and, if it is damaged, the reason. A server may lose keys or parts of
-- them, by an operator or by eviction, and a script may have been aborted: then the numbers do not match.
local function look()
  for _, kind in ipairs(kinds) do
    local found = redis.call('TYPE', kind[1]).ok
    if found ~= 'none' and found ~= kind[2] then return nil, kind[1] .. ' is a ' .. found end
  end
  local stored = redis.call('HMGET', meta, 'mark', 'live', 'done', 'redo', 'torn')
  if not stored[1] then return nil end
  if stored[5] then return nil, 'a commit was aborted' end
  local state = {
    mark = stored[1],
    live = tonumber(stored[2]),
    done = tonumber(stored[3]),
    redo = tonumber(stored[4]),
    old = redis.call('HLEN', old),
  }
  if not (state.live and state.done and state.redo) then return nil, 'its numbers are missing' end
  local intact = redis.call('HLEN', live) == state.live
    and redis.call('HLEN', done) == state.done
    and redis.call('LLEN', redo) == state.redo
    and redis.call('HLEN', rows) == state.live + state.old + state.done
    and redis.call('ZCARD', index) == 2 * (state.live + state.old) + 3 * state.done
  if not intact then return nil, 'entries are missing' end
  state.incomplete = state.redo > 0 or state.old > 0
  return state
end

-- Every change of more than one key is between begin() and finish(), so that an aborted script is noticed.
local function begin()
  redis.call('HSET', meta, 'torn', '1')
end

local function finish(state)
  redis.call('HSET', meta, 'live', state.live, 'done', state.done, 'redo', state.redo)
  redis.call('HDEL', meta, 'torn')
end

-- Returns the first line of a row.
local function head(row)
  return string.match(row, '^[^\n]*\n')
end

-- Returns the members of a run in the index, from the first line of its row: namespace/status/submitted/finished.
local function index_members(id, row)
  local space, order, ended = string.match(row, '^([^/\n]+)/([^/\n]+/[^/\n]+)/([^/\n]*)\n')
  local members = {space .. '/' .. order .. '/' .. id, '*/' .. order .. '/' .. id}
  if ended ~= '' then members[3] = '+/' .. ended .. '/' .. id end
  return members
end

local function is_done(row)
  return string.match(row, '^[^\n]*([^\n])\n') ~= '/'
end

local function append(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
end

local function call(command, key, arguments)
  if #arguments > 0 then redis.call(command, key, unpack(arguments)) end
end

-- Removes runs. `runs` holds their rows by id.
local function remove(state, runs)
  local ids, members, from_live, from_done = {}, {}, {}, {}
  for id, row in pairs(runs) do
    ids[#ids + 1] = id
    append(members, index_members(id, row))
    local from = is_done(row) and from_done or from_live
    from[#from + 1] = id
  end
  call('ZREM', index, members)
  call('HDEL', rows, ids)
  call('HDEL', live, from_live)
  call('HDEL', done, from_done)
  state.live = state.live - #from_live
  state.done = state.done - #from_done
end

-- Stores the runs of a list, from an index on: for each run its id, its row (empty if the run is to be removed) and its
-- state.
local function apply(state, parts, from)
  local ids = {}
  for at = from, #parts, 3 do ids[#ids + 1] = parts[at] end
  if #ids == 0 then return end
  local known = redis.call('HMGET', rows, unpack(ids))
  local replaced, members, to_rows, to_live, to_done = {}, {}, {}, {}, {}
  for i, id in ipairs(ids) do
    local was, row, body = known[i], parts[from + 3 * i - 2], parts[from + 3 * i - 1]
    local stays = was and (was == row or head(was) == head(row))
    if was and not stays then replaced[id] = was end
    if row ~= '' then
      append(is_done(row) and to_done or to_live, {id, body})
      if was ~= row then append(to_rows, {id, row}) end
      if not stays then
        for _, member in ipairs(index_members(id, row)) do append(members, {0, member}) end
        local kind = is_done(row) and 'done' or 'live'
        state[kind] = state[kind] + 1
      end
    end
  end
  remove(state, replaced)
  call('HSET', rows, to_rows)
  call('HSET', live, to_live)
  call('HSET', done, to_done)
  call('ZADD', index, members)
end

