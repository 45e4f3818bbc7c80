/* Lets a copied library believe that the processor ends at AVX2. benchmarks/avx2_only.py makes the copy and tells how.
 *
 * There, each CPUID instruction is an undefined one of the same length. The signal handler executes CPUID in its place
 * (for every such instruction of the process: a benchmark has no others) and takes AVX-512, AVX-VNNI, AVX10 and AMX out of the answer.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#define LENGTH_OF_UD2 2

static const unsigned int EBX_7 = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31;
static const unsigned int ECX_7 = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
static const unsigned int EDX_7 = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25;
static const unsigned int EAX_7_1 = 1u << 4 | 1u << 5 | 1u << 21 | 1u << 23;
static const unsigned int EDX_7_1 = 1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19;

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (instruction[0] != 0x0f || instruction[1] != 0x0b) {
        signal(number, SIG_DFL);
        return;
    }
    unsigned int leaf = (unsigned int)registers[REG_RAX], subleaf = (unsigned int)registers[REG_RCX], a, b, c, d;
    __cpuid_count(leaf, subleaf, a, b, c, d);
    if (leaf == 7 && subleaf == 0) b &= ~EBX_7, c &= ~ECX_7, d &= ~EDX_7;
    if (leaf == 7 && subleaf == 1) a &= ~EAX_7_1, d &= ~EDX_7_1;
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += LENGTH_OF_UD2;
    (void)info;
}

__attribute__((constructor)) static void install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, NULL);
}
