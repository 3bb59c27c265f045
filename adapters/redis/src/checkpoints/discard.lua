-- Removes a useless checkpoint, so that a full server has room for the one that replaces it. It also runs on a full
-- server.
--
-- ARGV  the mark of the checkpoint that contradicts the log; a damaged one is removed whatever its mark
--
-- Returns 1 if it removed one.

local state, damage = look()
if not damage and not (state and state.mark == ARGV[1]) then return 0 end
redis.call('UNLINK', meta, live, done, rows, index, redo, old)
return 1
