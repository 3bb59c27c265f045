-- Runs an operation of a worker on a claim, by this server's clock.
--
-- KEYS[1]  a hash: holder, lease_until (ms), doubtful, lost (the holder that never reported the outcome of its call), done
-- KEYS[2]  the time of the first claim on this server (ms, with microseconds as decimals)
-- ARGV     the operation, the holder, the lease (ms), how long to keep a done claim and an abandoned one (ms)
--
-- Returns {result, end of the present lease, lost holder}; for `born`, which concerns no claim, the time of the first
-- claim in whole milliseconds, and as it is stored.

local key = KEYS[1]
local operation, holder, lease, keep_done, keep_abandoned = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Formats a number of milliseconds without an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

-- Stored with the first claim, and lost with it. A full server can still read it.
if operation == 'claim' or operation == 'born' then
  local born = redis.call('GET', KEYS[2])
  if not born then
    born = string.format('%.3f', time[1] * 1000 + time[2] / 1000)
    redis.call('SET', KEYS[2], born)
  end
  if operation == 'born' then return {'born', math.floor(tonumber(born)), born} end
end

local stored = redis.call('HMGET', key, 'holder', 'lease_until', 'doubtful', 'lost', 'done')
local current, lease_until, doubtful, lost, done = stored[1], tonumber(stored[2]), stored[3], stored[4] or '', stored[5]

-- Gives the claim to the holder. An abandoned claim is kept for long after its lease: it is the only trace of a call
-- that may have happened.
local function hold(in_doubt)
  local lease_end = now + lease
  redis.call('HSET', key, 'holder', holder, 'lease_until', whole(lease_end), 'doubtful', in_doubt)
  redis.call('PEXPIREAT', key, whole(lease_end + keep_abandoned))
end

if operation == 'claim' then
  if done then return {'done', 0, ''} end
  if not current then
    hold('0')
    return {'won', 0, ''}
  end
  if current == holder then
    -- The operation is repeated: the first answer was lost.
    hold(doubtful)
    return {doubtful == '1' and 'lapsed' or 'won', 0, lost}
  end
  if now < lease_until then return {'busy', lease_until, ''} end
  hold('1')
  -- A holder that released the claim left an empty name: the one before it is still the lost one.
  if current ~= '' then
    lost = current
    redis.call('HSET', key, 'lost', lost)
  end
  return {'lapsed', 0, lost}
end

-- All other operations are for the holder alone. A claim that is done or released has no holder.
if done or not current or current ~= holder then return {'other', 0, ''} end

if operation == 'renew' then
  hold(doubtful)
elseif operation == 'done' then
  -- A done claim has no holder. It is kept for a day, so only the necessary field remains.
  redis.call('HSET', key, 'done', '1')
  redis.call('HDEL', key, 'holder', 'lease_until', 'doubtful', 'lost')
  redis.call('PEXPIRE', key, keep_done)
elseif operation == 'release' and doubtful == '1' then
  -- The call was in doubt before this holder claimed it, and still is. No node has an empty name.
  redis.call('HSET', key, 'holder', '', 'lease_until', '0')
elseif operation == 'release' then
  redis.call('DEL', key)
end
return {'held', 0, ''}
