-- Returns the identity of this server's data, KEYS[1]: the microsecond at which it was first read.

local id = redis.call('GET', KEYS[1])
if not id then
  local time = redis.call('TIME')
  id = string.format('%d.%06d', time[1], time[2])
  redis.call('SET', KEYS[1], id)
end
return id
