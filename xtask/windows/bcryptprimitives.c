/* What Wine 8 lacks and Rust's standard library imports: bcryptprimitives.dll with its one function, random bytes.
   Made by `cargo xtask windows` for its own Wine prefix. */
#include <windows.h>

/* The documented RtlGenRandom, under the name that advapi32 exports. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length)
{
    const SIZE_T portion = 1 << 20;
    while (length > 0) {
        ULONG now = (ULONG)(length < portion ? length : portion);
        if (!SystemFunction036(bytes, now))
            return FALSE;
        bytes += now;
        length -= now;
    }
    return TRUE;
}
