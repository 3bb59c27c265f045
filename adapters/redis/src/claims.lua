-- One claim, moved on by one word of a worker, by this server's clock.
--
-- KEYS[1]  a hash: holder, lease_until (ms), doubtful, lost (the holder that never said how the call went), done
-- KEYS[2]  since when there have been claims here (ms)
-- ARGV     the word, who says it, the lease (ms), how long to keep what is done, and what was abandoned (ms)
--
-- Answers {what became of it, when the present lease ends, the lost holder}; `born`, which is about no claim, that moment
-- instead.

local key = KEYS[1]
local word, holder, lease, keep_done, keep_abandoned = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Numbers of this size must not be written with an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

-- Made with the first claim, and lost with it.
if word == 'claim' or word == 'born' then redis.call('SET', KEYS[2], whole(now), 'NX') end
if word == 'born' then return {'born', tonumber(redis.call('GET', KEYS[2])), ''} end

local kept = redis.call('HMGET', key, 'holder', 'lease_until', 'doubtful', 'lost', 'done')
local known, lease_until, doubtful, lost, done = kept[1], tonumber(kept[2]), kept[3], kept[4] or '', kept[5]

-- Gives it to the holder. What is abandoned is kept for long after its lease: it is the only trace of a call that may
-- have happened.
local function hold(in_doubt)
  local lease_end = now + lease
  redis.call('HSET', key, 'holder', holder, 'lease_until', whole(lease_end), 'doubtful', in_doubt)
  redis.call('PEXPIREAT', key, whole(lease_end + keep_abandoned))
end

if word == 'claim' then
  if done then return {'done', 0, ''} end
  if not known then
    hold('0')
    return {'won', 0, ''}
  end
  if known == holder then
    -- Asked twice: the first answer was lost on the way.
    hold(doubtful)
    return {doubtful == '1' and 'lapsed' or 'won', 0, lost}
  end
  if now < lease_until then return {'busy', lease_until, ''} end
  hold('1')
  -- A holder that released the claim left no name: the one before it is still the lost one.
  if known ~= '' then
    lost = known
    redis.call('HSET', key, 'lost', lost)
  end
  return {'lapsed', 0, lost}
end

-- Every other word is the holder's alone. Nobody holds what was done or released.
if done or not known or known ~= holder then return {'other', 0, ''} end

if word == 'renew' then
  hold(doubtful)
elseif word == 'done' then
  -- Nobody holds it any more: what is kept for a day is as small as it can be.
  redis.call('HSET', key, 'done', '1')
  redis.call('HDEL', key, 'holder', 'lease_until', 'doubtful', 'lost')
  redis.call('PEXPIRE', key, keep_done)
elseif word == 'release' and doubtful == '1' then
  -- What was in doubt before this holder came is still in doubt when it leaves. No node is called by this name.
  redis.call('HSET', key, 'holder', '', 'lease_until', '0')
elseif word == 'release' then
  redis.call('DEL', key)
end
return {'held', 0, ''}
